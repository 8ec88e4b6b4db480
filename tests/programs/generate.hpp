#pragma once
// Random programs, the same for the same seed.
#include "program.hpp"

#include <cstdint>

namespace programs {

[[nodiscard]] program generate(std::uint64_t seed);

}  // namespace programs
