// expect: (cannot convert|could not convert|no viable conversion|conversion from)
#include <rondel/core/float16.hpp>

rondel::bfloat16 round(float x) {
#ifdef RONDEL_MUST_FAIL
  return x;
#endif
  return rondel::bfloat16(x);
}
