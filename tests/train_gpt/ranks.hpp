#pragma once
#include <rondel/comm/threads.hpp>
#include <rondel/device/host.hpp>

#include <thread>
#include <vector>
namespace train_gpt::test {
template <class F>
void run_ranks(int n, F&& f) {
  auto g = rondel::make_thread_group(n);
  std::vector<std::thread> ts;
  for (int r = 0; r < n; ++r)
    ts.emplace_back([&, r] {
      rondel::host_device d({.rank = r});
      rondel::thread_communicator<rondel::host_device> c(g, r, d, rondel::seconds(20));
      f(c);
    });
  for (auto& t : ts) t.join();
}
}  // namespace train_gpt::test
