// expect: (does not satisfy 'element'|required for the satisfaction of 'element<)
#include <rondel/collective/all_reduce.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

void reduce(rondel::thread_communicator<rondel::host_device>& comm, rondel::host_stream& stream,
            rondel::device_span<float> x, rondel::device_span<short> wrong) {
  rondel::all_reduce(comm, stream, x);
#ifdef RONDEL_MUST_FAIL
  rondel::all_reduce(comm, stream, wrong);
#endif
  (void)wrong;
}
