#pragma once
#include <rondel/core/error.hpp>
#include <rondel/core/text.hpp>
#include <rondel/trace/format.hpp>
#include <rondel/trace/nesting.hpp>
#include <rondel/trace/summary.hpp>
#include <rondel/trace/svg_lane.hpp>
#include <rondel/trace/svg_layout.hpp>
#include <rondel/trace/svg_names.hpp>
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace rondel {

namespace detail {

// Appends the lanes of each rank; returns where they end.
inline double draw_svg_ranks(std::string& out, const std::vector<const timeline_lane*>& lanes,
                             const svg_layout& layout, const svg_names& names, double width) {
  const svg_window& window = layout.window;
  const svg_ticks ticks(window);
  const svg_detail detail = svg_detail::choose(lanes, window);
  const auto draw_axis = [&](double baseline) {
    for (const svg_ticks::tick& tick : ticks.marks) {
      const double half = text_width(tick.label, 11) / 2;
      if (window.x(tick.time) + half > window.left + window.width + 12) continue;  // "busy"
      append_svg_text(out, "m k", window.x(tick.time), baseline, tick.label);
    }
    append_svg_text(out, "m e", width - layout.margin - layout.padding, baseline, "busy");
  };
  draw_axis(layout.top - 8);
  double y = layout.top;
  for (std::size_t i = 0; i < lanes.size();) {
    std::size_t last = i;
    while (last < lanes.size() && lanes[last]->rank() == lanes[i]->rank()) ++last;
    const double height = layout.rank_height(last - i);
    append_svg_box(out, "#eef1f5", layout.margin, y, width - 2 * layout.margin, height, 4);
    append_svg_text(out, "r", layout.margin + layout.padding,
                    y + layout.padding + layout.lane_height / 2 + 4, rank_label(lanes[i]->rank()));
    y += layout.padding;
    std::string strokes;
    for (; i < last; ++i, y += layout.lane_height + layout.lane_gap) {
      const timeline_lane& lane = *lanes[i];
      const double middle = y + layout.lane_height / 2;
      append_svg_box(out, "#ffffff", window.left, y, window.width, layout.lane_height, 0);
      append_svg_text(out, "", layout.lane_left, middle + 4,
                      shortened(lane.name(), svg_layout::longest_name));
      const double busy = overlap(busy_intervals(lane.spans()), {{window.from, window.to}});
      std::string percent;
      append_number(percent, 100 * busy / (window.to - window.from), 0);
      append_svg_text(out, "e", width - layout.margin - layout.padding, middle + 4, percent + " %");
      draw_svg_lane(strokes, lane, window, names, detail, middle, layout.lane_height >= 16);
    }
    y += layout.padding - layout.lane_gap;
    out += "<path class=\"g\" d=\"";
    for (const svg_ticks::tick& tick : ticks.marks) {
      out += 'M';
      append_number(out, window.x(tick.time), 1);
      out += ' ';
      append_number(out, y - height, 1);
      out += 'v';
      append_number(out, height, 1);
    }
    out += "\"/>\n";
    out += strokes;
    y += layout.padding;
  }
  if (y < 800) return y;
  draw_axis(y + 8);
  return y + 16;
}

// Appends the operations with their colours, times and shares; returns where they end.
inline double draw_svg_legend(std::string& out, const svg_names& names, double y, double width) {
  struct item {
    std::size_t color;
    std::string name;
    std::string time;
  };
  std::vector<item> items;
  const auto add = [&](std::size_t color, std::string name, double seconds) {
    std::string time = format_seconds(seconds) + ", ";
    append_number(time, names.total() > 0 ? 100 * seconds / names.total() : 0, 1);
    items.push_back({color, std::move(name), time + " %"});
  };
  double other = 0;
  std::size_t others = 0;
  for (const svg_names::entry* one : names.by_time()) {
    if (one->color != svg_other) {
      add(one->color, shortened(one->name, 40), one->seconds);
    } else {
      other += one->seconds;
      ++others;
    }
  }
  if (others > 0)
    add(svg_other, concat("other (", others, others == 1 ? " operation)" : " operations)"), other);
  double cell = 0;
  for (const item& one : items) {
    cell = std::max(cell, 44 + text_width(one.name, 11) + text_width(one.time, 11));
  }
  const double usable = width - 2 * (svg_layout::margin + svg_layout::padding);
  const auto columns = static_cast<std::size_t>(std::max(1.0, usable / cell));
  y += 18;
  append_svg_text(out, "m", svg_layout::margin + svg_layout::padding, y,
                  "Time per operation, summed over lanes, and its share of the time of all:");
  y += 8;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const double x =
        svg_layout::margin + svg_layout::padding + static_cast<double>(i % columns) * cell;
    const double line = y + static_cast<double>(i / columns) * 19;
    append_svg_box(out, svg_palette[items[i].color].fill, x, line, 12, 12, 2);
    out += "<text x=\"";
    append_number(out, x + 18, 1);
    out += "\" y=\"";
    append_number(out, line + 10, 1);
    out += "\">";
    append_xml(out, items[i].name);
    out += "<tspan class=\"m\" dx=\"7\">" + items[i].time + "</tspan></text>\n";
  }
  return y + static_cast<double>((items.size() + columns - 1) / columns) * 19;
}

[[nodiscard]] inline std::string svg_style(const svg_layout& layout) {
  std::string out =
      "<style>text{font:11px Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#111827}"
      ".h{font-size:16px;font-weight:bold}.r{font-size:12px;font-weight:bold}.m{fill:#5b6472}"
      ".w{fill:#b42318}.e{text-anchor:end}.k{text-anchor:middle}"
      ".g{stroke:#d5dae1;stroke-width:1}path{fill:none}";
  for (std::size_t level = 0; level < svg_levels; ++level) {
    out += concat(".l", level, "{stroke-width:");
    append_number(out, layout.lane_height - 0.2 * layout.lane_height * static_cast<double>(level),
                  1);
    out += "}";
  }
  for (std::size_t i = 0; i <= svg_other; ++i) {
    out += concat(".c", i, "{stroke:", svg_palette[i].fill, "}.i", i,
                  "{pointer-events:none;fill:", svg_palette[i].ink, "}");
  }
  return out + "</style>\n";
}

}  // namespace detail

/// `recorded` as one self-contained SVG picture: a row per lane, grouped by rank, over a common
/// time axis, with each lane's busy share of the time shown and a legend of operations.
///
/// The eleven operations with the most time have a colour each, which follows from the name;
/// the others are grey. Pointing at a span shows its name, duration and begin, and the FLOP/s
/// and B/s that it achieved. What is shorter than about a pixel is drawn together with its
/// neighbours, in the colour of the longest, as wide as their time: the picture stays below half
/// a megabyte for any number of spans on up to a hundred lanes. Throws `invalid_argument` if
/// the width is below 480 or `from < to` does not hold. To be called once nobody records any
/// more.
[[nodiscard]] inline std::string to_svg(const timeline& recorded, const svg_options& options = {}) {
  if (options.width < 480 || !(options.from < options.to)) {
    throw invalid_argument(concat("to_svg: needs a width of at least 480 and from < to, has width ",
                                  options.width, ", from ", options.from, ", to ", options.to));
  }
  const std::vector<const timeline_lane*> lanes = recorded.lanes();
  const detail::svg_layout layout(lanes, options);
  const double width = options.width;
  std::size_t shown = 0;
  std::size_t ranks = 0;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    ranks += i == 0 || lanes[i - 1]->rank() != lanes[i]->rank();
    for (const timeline_span& span : lanes[i]->spans()) shown += layout.window.shows(span);
  }

  std::string body;
  detail::append_svg_text(body, "h", detail::svg_layout::margin + 6, 26, options.title);
  double bottom = detail::svg_layout::top;
  if (shown == 0) {
    detail::append_svg_text(body, "m", detail::svg_layout::margin + 6, 48,
                            "No spans were recorded in this time.");
  } else {
    const auto count = [](std::size_t n, const char* noun) {
      return concat(n, " ", noun, n == 1 ? "" : "s");
    };
    const std::string facts =
        concat(count(ranks, "rank"), ", ", count(lanes.size(), "lane"), ", ", count(shown, "span"),
               " in ", format_seconds(layout.window.to - layout.window.from));
    detail::append_svg_text(body, "m", detail::svg_layout::margin + 6, 44, facts);
    const detail::svg_names names(lanes, layout.window);
    bottom = detail::draw_svg_ranks(body, lanes, layout, names, width);
    bottom = detail::draw_svg_legend(body, names, bottom, width);
  }
  if (recorded.dropped() > 0) {
    bottom += 18;
    detail::append_svg_text(body, "w", detail::svg_layout::margin + 6, bottom,
                            concat(recorded.dropped(), " spans found no room and are missing."));
  }
  const auto height = static_cast<long>(bottom) + 12;
  std::string out = concat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", options.width,
                           "\" height=\"", height, "\" viewBox=\"0 0 ", options.width, " ", height,
                           "\" role=\"img\" aria-label=\"");
  detail::append_xml(out, options.title);
  out += "\">\n" + detail::svg_style(layout);
  detail::append_svg_box(out, "#ffffff", 0, 0, width, static_cast<double>(height), 0);
  return out + body + "</svg>\n";
}

}  // namespace rondel
