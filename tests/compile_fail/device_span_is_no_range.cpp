// expect: ('begin' was not declared|no viable 'begin' function)
#include <rondel/core/device_span.hpp>

float sum(rondel::device_span<float> x) {
  float out = static_cast<float>(x.size());
#ifdef RONDEL_MUST_FAIL
  for (const float value : x) out += value;
#endif
  return out;
}
