#include "host_kernels_impl.hpp"

template struct train_gpt::host_kernels<double>;
