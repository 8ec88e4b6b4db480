// expect: (does not satisfy 'block_sizes'|required for the satisfaction of 'block_sizes<)
#include <rondel/collective/all_gather.hpp>
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

#include <cstddef>
#include <vector>

void gather(rondel::thread_communicator<rondel::host_device>& comm, rondel::host_stream& stream,
            rondel::device_span<float> in, rondel::device_span<float> out,
            const std::vector<std::size_t>& sizes) {
  rondel::all_gather_v(comm, stream, in, out, rondel::uneven_blocks(sizes));
#ifdef RONDEL_MUST_FAIL
  rondel::all_gather_v(comm, stream, in, out, sizes);
#endif
}
