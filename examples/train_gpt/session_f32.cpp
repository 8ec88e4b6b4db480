#include "session.hpp"

namespace train_gpt {

template outcome run_session<float>(const rondel::threads&, const options&, const text_split&,
                                    checkpoint_store&, rondel::timeline*, listener&);
template outcome run_session<float>(const rondel::simulated&, const options&, const text_split&,
                                    checkpoint_store&, rondel::timeline*, listener&);

}  // namespace train_gpt
