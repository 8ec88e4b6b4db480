// expect: (does not satisfy 'element'|required for the satisfaction of 'element<)
#include <rondel/collective/broadcast.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

void spread(rondel::thread_communicator<rondel::host_device>& comm, rondel::host_stream& stream,
            rondel::device_span<float> x, rondel::device_span<const float> constant) {
  rondel::broadcast(comm, stream, x, 0);
#ifdef RONDEL_MUST_FAIL
  rondel::broadcast(comm, stream, constant, 0);
#endif
  (void)constant;
}
