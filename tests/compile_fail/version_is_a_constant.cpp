// expect: (lvalue required|expression is not assignable)
#include <rondel/core/version.hpp>

int main() {
#ifdef RONDEL_MUST_FAIL
  RONDEL_VERSION_MAJOR = 1;
#endif
  return RONDEL_VERSION_MAJOR;
}
