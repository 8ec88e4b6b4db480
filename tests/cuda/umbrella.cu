// Every public header compiles as CUDA. Compile-only.
#include <rondel/rondel.hpp>
