// expect: ('reduction<takes_one, float>' evaluated|satisfaction of 'reduction<)
#include <rondel/collective/all_reduce.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

struct takes_one {
  float operator()(float a) const { return a; }
};
struct takes_two {
  float operator()(float a, float b) const { return a * b; }
};

void reduce(rondel::thread_communicator<rondel::host_device>& comm, rondel::host_stream& stream,
            rondel::device_span<float> x) {
  rondel::all_reduce(comm, stream, x, takes_two{});
#ifdef RONDEL_MUST_FAIL
  rondel::all_reduce(comm, stream, x, takes_one{});
#endif
}
