// expect: satisf(y|action of) 'communicator
#include <rondel/collective/all_reduce.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

struct not_a_group {
  using device_type = rondel::host_device;
};

template <class C>
void reduce(C& comm, rondel::host_stream& stream, rondel::device_span<float> x) {
  rondel::all_reduce(comm, stream, x);
}

template void reduce(rondel::thread_communicator<rondel::host_device>&, rondel::host_stream&,
                     rondel::device_span<float>);
#ifdef RONDEL_MUST_FAIL
template void reduce(not_a_group&, rondel::host_stream&, rondel::device_span<float>);
#endif
