#!/usr/bin/env bash
# Runs Doxygen over the public headers; a warning, such as an undocumented declaration, is an error.
# Copies, moves and defaulted or deleted members say nothing that the class does not, and may go without.
# Doxygen 1.9 does not ask for the documentation of a concept, so that is asked for here.
# Usage: check_docs.sh [--self-test] <output folder>
# --self-test runs it over a header with undocumented declarations, which must be reported.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v doxygen >/dev/null; then
  echo "skipped: doxygen is not installed"
  exit 77
fi

special='Member ([A-Za-z0-9_]+)\((const )?\1(<.*>)? ?&.* is not documented'
special+='|(operator=\(|=(default|delete)\b).* is not documented'

# run <output folder> <input folder>: prints the warnings that count, fails when there are any.
run() {
  local warnings=$1/warnings.txt
  mkdir -p "$1"
  rm -f "$warnings"
  {
    cat docs/Doxyfile
    printf 'OUTPUT_DIRECTORY = "%s"\nINPUT = "%s"\nWARN_LOGFILE = "%s"\n' "$1" "$2" "$warnings"
  } | doxygen -
  sed -i -E "\\~$special~d" "$warnings"
  find "$2" -name '*.hpp' -exec awk -f scripts/undocumented_concepts.awk {} + >> "$warnings"
  cat "$warnings"
  [[ ! -s $warnings ]]
}

if [[ ${1:-} == --self-test ]]; then
  input=$2/input
  mkdir -p "$input"
  cat > "$input/control.hpp" <<'HEADER'
#pragma once
/// @file
/// A control.
/// The namespace.
namespace control {
/// Documented.
inline int documented() { return 1; }
inline int undocumented_function() { return 1; }
struct undocumented_struct {
  /// Documented.
  int documented_member;
};
template <class T>
concept undocumented_concept = true;
/// Documented.
template <class T>
concept documented_concept = true;
/// Documented.
struct documented_struct {
  documented_struct(documented_struct&& other) noexcept;
  documented_struct& operator=(documented_struct&& other) noexcept;
  friend bool operator==(const documented_struct&, const documented_struct&) = default;
  int undocumented_member();
};
namespace detail {
inline int internal() { return 1; }
template <class T>
concept internal_concept = true;
}  // namespace detail
}  // namespace control
HEADER
  if output=$(run "$2/output" "$input"); then
    echo "an undocumented function passed"
    exit 1
  fi
  for name in undocumented_function undocumented_struct undocumented_member undocumented_concept; do
    grep -q "warning:.*$name" <<<"$output" || { echo "$name was not reported:"; echo "$output"; exit 1; }
  done
  if [[ $(wc -l <<<"$output") -ne 4 ]]; then
    echo "more was reported than the four undocumented declarations:"
    echo "$output"
    exit 1
  fi
  echo "undocumented declarations are reported"
  exit 0
fi

run "$1" include
echo "the documentation is in $1/html"
