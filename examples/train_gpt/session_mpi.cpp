#include "session_mpi.hpp"

#include <rondel/mpi.hpp>

namespace train_gpt {

rondel::engine_facts mpi_facts() {
  return rondel::detail::facts_of(rondel::engines<rondel::mpi>{}).front();
}

template <class T>
outcome run_session_mpi(const options& o, const text_split& text, checkpoint_store& store,
                        rondel::timeline* recorder, listener& heard) {
  rondel::mpi engine{.timeout = {o.timeout}, .recorder = recorder};
  if (o.streams == "worker") engine.streams = rondel::stream_mode::worker;
  if (o.memory_limit > 0) engine.memory_limit = o.memory_bytes();
  return run_session<T>(engine, o, text, store, recorder, heard);
}

template outcome run_session_mpi<float>(const options&, const text_split&, checkpoint_store&,
                                        rondel::timeline*, listener&);
template outcome run_session_mpi<double>(const options&, const text_split&, checkpoint_store&,
                                         rondel::timeline*, listener&);

}  // namespace train_gpt
