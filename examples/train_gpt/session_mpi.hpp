#pragma once
#include <rondel/launch_engines.hpp>
#include <rondel/trace/timeline.hpp>

#include "checkpoint.hpp"
#include "options.hpp"
#include "session.hpp"
#include "text.hpp"

namespace train_gpt {

/// The MPI engine, for `parse_options`.
[[nodiscard]] rondel::engine_facts mpi_facts();

/// `run_session` on the processes of an MPI job. Every process makes the same call; all get the
/// outcomes of all ranks, and rank 0 the rest.
template <class T>
[[nodiscard]] outcome run_session_mpi(const options& o, const text_split& text,
                                      checkpoint_store& store, rondel::timeline* recorder,
                                      listener& heard);

extern template outcome run_session_mpi<float>(const options&, const text_split&, checkpoint_store&,
                                               rondel::timeline*, listener&);
extern template outcome run_session_mpi<double>(const options&, const text_split&,
                                                checkpoint_store&, rondel::timeline*, listener&);

}  // namespace train_gpt
