#pragma once
#include <rondel/core/text.hpp>
#include <rondel/trace/format.hpp>
#include <rondel/trace/nesting.hpp>
#include <rondel/trace/svg_names.hpp>
#include <rondel/trace/timeline.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace rondel::detail {

// How much a picture may say: what is longer than `own_pixels` has a shape and a tooltip of its
// own, the rest shares columns that are `column_pixels` wide.
struct svg_detail {
  double own_pixels = 1;
  double column_pixels = 1;

  // Keeps the picture small however many spans and lanes there are.
  static svg_detail choose(const std::vector<const timeline_lane*>& lanes,
                           const svg_window& window) {
    constexpr std::size_t most_shapes = 2000;
    constexpr double most_columns = 16000;
    svg_detail out;
    std::vector<double> widths;
    for (const timeline_lane* lane : lanes) {
      for (const timeline_span& span : lane->spans()) {
        const double width = window.pixels(window.seconds(span));
        if (width > out.own_pixels) widths.push_back(width);
      }
    }
    if (widths.size() > most_shapes) {
      std::sort(widths.begin(), widths.end());
      out.own_pixels = widths[widths.size() - most_shapes - 1];
    }
    out.column_pixels =
        std::max(1.0, static_cast<double>(lanes.size()) * window.width / most_columns);
    return out;
  }
};

// Levels of nesting that a lane shows; deeper ones are drawn as the last.
inline constexpr std::size_t svg_levels = 3;

// Columns of one lane and level: which operations share each, and how full it is.
class svg_columns {
 public:
  svg_columns(const svg_window& window, double pixels)
      : left_(window.left),
        pixels_(pixels),
        columns_(static_cast<std::size_t>(window.width / pixels) + 1) {}

  // Adds a span that is drawn from `begin` to `end`, in pixels from the left edge of the window.
  void add(double begin, double end, std::size_t color) {
    if (columns_[0].cover.empty()) {
      for (column& one : columns_) one.cover.resize(svg_other + 1);
    }
    used_[color] = true;
    auto i =
        std::min(static_cast<std::size_t>(std::max(begin, 0.0) / pixels_), columns_.size() - 1);
    for (; i < columns_.size(); ++i) {
      const double start = static_cast<double>(i) * pixels_;
      const double low = std::max(begin, start);
      const double high = std::min(end, start + pixels_);
      columns_[i].first = std::min(columns_[i].first, low);
      columns_[i].cover[color] += std::max(high - low, 1e-6);
      if (end <= start + pixels_) break;
    }
  }

  // Appends one path per colour; neighbours that are full are one stroke.
  void draw(std::string& out, const svg_names& names, double middle, std::size_t level) const {
    for (std::size_t color = 0; color <= svg_other; ++color) {
      if (!used_[color]) continue;
      std::string path;
      double begin = 0;
      double end = -1;
      const auto flush = [&] {
        if (end <= begin) return;
        path += 'M';
        append_number(path, begin, 1);
        path += " 0h";
        append_number(path, end - begin, 1);
      };
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        const column& one = columns_[i];
        if (one.cover.empty() || one.main() != color) continue;
        const double start = static_cast<double>(i) * pixels_;
        const double length = std::clamp(one.sum(), std::min(0.4, pixels_), pixels_);
        const double low = left_ + std::min(one.first, start + pixels_ - length);
        if (low > end + 0.05) {
          flush();
          begin = low;
        }
        end = low + length;
      }
      flush();
      if (path.empty()) continue;
      out += concat("<path class=\"c", color, " l", level, "\" transform=\"translate(0 ");
      append_number(out, middle, 1);
      out += concat(")\" d=\"", path, "\"><title>short spans");
      if (color != svg_other) {
        out += ", most of them ";
        append_xml(out, shortened(name_of(names, color), 80));
      }
      out += "</title></path>\n";
    }
  }

 private:
  struct column {
    std::vector<double> cover;  // pixels by colour
    double first = std::numeric_limits<double>::max();

    [[nodiscard]] double sum() const {
      double pixels = 0;
      for (double part : cover) pixels += part;
      return pixels;
    }
    // The colour that covers most; none where there is nothing.
    [[nodiscard]] std::size_t main() const {
      const auto most = std::max_element(cover.begin(), cover.end());
      return *most > 0 ? static_cast<std::size_t>(most - cover.begin()) : cover.size();
    }
  };

  [[nodiscard]] static std::string_view name_of(const svg_names& names, std::size_t color) {
    for (const svg_names::entry* one : names.by_time()) {
      if (one->color == color) return one->name;
    }
    return "";
  }

  double left_;
  double pixels_;
  std::vector<column> columns_;
  bool used_[svg_other + 1] = {};
};

// What a reader sees on pointing at a span.
[[nodiscard]] inline std::string svg_tooltip(const timeline_span& span) {
  const double seconds = span.end - span.begin;
  std::string out = concat(shortened(span.name, 80), ": ", format_seconds(seconds), " at ",
                           format_seconds(span.begin));
  if (seconds > 0 && span.flops > 0) out += ", " + format_rate(span.flops / seconds, "FLOP");
  if (seconds > 0 && span.bytes > 0) {
    out += ", " + format_rate(static_cast<double>(span.bytes) / seconds, "B");
  }
  return out;
}

// A span that encloses the next ones, and the longest part of it that none of them covers.
struct svg_open_span {
  const char* name;
  std::size_t color;
  double end;     // seconds
  double cursor;  // pixels; where the last enclosed span ends
  double room_begin = 0;
  double room_end = 0;

  // Takes note that the stretch from `begin` to `next`, in pixels, is covered.
  void cover(double begin, double next) noexcept {
    if (begin - cursor > room_end - room_begin) {
      room_begin = cursor;
      room_end = begin;
    }
    cursor = std::max(cursor, next);
  }

  // Appends the name in the middle of the room, if it fits.
  void label(std::string& out, double middle) const {
    if (*name == 0 || text_width(name, 11) + 6 > room_end - room_begin) return;
    out += concat("<text class=\"k i", color, "\" x=\"");
    append_number(out, (room_begin + room_end) / 2, 1);
    out += "\" y=\"";
    append_number(out, middle + 4, 1);
    out += "\">";
    append_xml(out, name);
    out += "</text>\n";
  }
};

// Appends the spans of `lane` as strokes around the line `middle`, with names where they fit.
inline void draw_svg_lane(std::string& out, const timeline_lane& lane, const svg_window& window,
                          const svg_names& names, const svg_detail& detail, double middle,
                          bool with_names) {
  std::vector<svg_columns> columns(svg_levels, svg_columns(window, detail.column_pixels));
  std::string labels;
  std::vector<svg_open_span> open;
  const auto close = [&](double until) {
    const double end = window.x(std::min(open.back().end, until));
    open.back().cover(end, end);
    if (with_names) open.back().label(labels, middle);
    open.pop_back();
  };
  for (const timeline_span& span : in_nesting_order(lane)) {
    if (!window.shows(span)) continue;
    while (!open.empty() && (open.back().end <= span.begin || open.back().end < span.end)) {
      close(span.begin);
    }
    const std::size_t level = std::min(open.size(), svg_levels - 1);
    const std::size_t color = names.color(span.name);
    const double left = window.x(span.begin);
    const double width = window.pixels(window.seconds(span));
    if (!open.empty()) open.back().cover(left, left + width);
    open.push_back({span.name, color, span.end, left});
    if (width <= detail.own_pixels) {
      columns[level].add(left - window.left, left - window.left + width, color);
      continue;
    }
    out += concat("<path class=\"c", color, " l", level, "\" d=\"M");
    append_number(out, left, 1);
    out += ' ';
    append_number(out, middle, 1);
    out += 'h';
    append_number(out, width > 3 ? width - 0.6 : width, 1);  // neighbours stay apart
    out += "\"><title>";
    append_xml(out, svg_tooltip(span));
    out += "</title></path>\n";
  }
  while (!open.empty()) close(window.to);
  for (std::size_t level = 0; level < svg_levels; ++level) {
    columns[level].draw(out, names, middle, level);
  }
  out += labels;
}

}  // namespace rondel::detail
