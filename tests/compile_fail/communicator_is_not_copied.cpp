// expect: deleted (function .rondel::thread_comm|copy constructor of .comm)
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

using communicator = rondel::thread_communicator<rondel::host_device>;

communicator second(communicator& comm) {
#ifdef RONDEL_MUST_FAIL
  return comm;
#endif
  return comm.duplicate();
}
