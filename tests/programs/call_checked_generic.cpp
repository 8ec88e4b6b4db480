#include "call.hpp"

template void programs::call(programs::checked_generic_comm&, rank_run&, const step&, std::size_t);
