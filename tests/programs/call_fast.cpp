#include "call.hpp"

template void programs::call(programs::fast_comm&, rank_run&, const step&, std::size_t);
