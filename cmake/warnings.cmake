# Only our own tests, examples and benchmarks link this; a consumer chooses their own warnings.
add_library(rondel_warnings INTERFACE)
target_compile_options(rondel_warnings INTERFACE
  -Wall
  -Wextra
  -Wpedantic
  -Wconversion
  -Wsign-conversion
  -Wshadow
  -Wnon-virtual-dtor
  -Woverloaded-virtual
  -Wold-style-cast
  -Wcast-align
  -Wextra-semi
  -Wformat=2
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
  $<$<BOOL:${RONDEL_WERROR}>:-Werror>)

add_library(rondel_native INTERFACE)
if(RONDEL_NATIVE)
  target_compile_options(rondel_native INTERFACE -march=native)
endif()
