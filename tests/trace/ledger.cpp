#include <rondel/trace/ledger.hpp>
#include <rondel/trace/ledger_table.hpp>

#include <string>
#include <vector>

#include <doctest/doctest.h>

using rondel::direction;
using rondel::ledger;
using rondel::ledger_row;
using rondel::operation_kind;

namespace {

// One all_reduce round a ring of four and two sends, on rank 1.
ledger sample() {
  ledger book;
  book.call(operation_kind::all_reduce);
  for (int step = 0; step < 6; ++step) {
    book.record(operation_kind::all_reduce, 2, direction::sent, 1000);
    book.record(operation_kind::all_reduce, 0, direction::received, 1001);
  }
  book.call(operation_kind::send_recv);
  book.call(operation_kind::send_recv);
  book.record(operation_kind::send_recv, 3, direction::sent, 1234567);
  book.record(operation_kind::send_recv, 0, direction::sent, 0);
  book.call(operation_kind::barrier);
  return book;
}

}  // namespace

TEST_CASE("a ledger sums by operation, peer and direction") {
  const ledger book = sample();
  CHECK(book.calls(operation_kind::all_reduce) == 1);
  CHECK(book.calls(operation_kind::send_recv) == 2);
  CHECK(book.calls(operation_kind::barrier) == 1);
  CHECK(book.calls(operation_kind::split) == 0);
  CHECK(book.bytes(direction::sent) == 6000 + 1234567);
  CHECK(book.bytes(direction::received) == 6006);
  CHECK(book.messages(direction::sent) == 8);
  CHECK(book.messages(direction::received) == 6);
  CHECK(book.bytes(operation_kind::all_reduce, direction::sent) == 6000);
  CHECK(book.bytes(operation_kind::all_reduce, direction::received) == 6006);
  CHECK(book.bytes(operation_kind::barrier, direction::sent) == 0);
  CHECK(book.messages(operation_kind::send_recv, direction::sent) == 2);
  CHECK(book.messages(operation_kind::send_recv, direction::received) == 0);
  CHECK(book.bytes(operation_kind::send_recv, 3, direction::sent) == 1234567);
  CHECK(book.bytes(operation_kind::send_recv, 3, direction::received) == 0);
  CHECK(book.bytes(operation_kind::send_recv, 1, direction::sent) == 0);
}

TEST_CASE("rows are sorted and hold messages without payload") {
  const std::vector<ledger_row> expected = {
      {operation_kind::send_recv, 0, direction::sent, 1, 0},
      {operation_kind::send_recv, 3, direction::sent, 1, 1234567},
      {operation_kind::all_reduce, 0, direction::received, 6, 6006},
      {operation_kind::all_reduce, 2, direction::sent, 6, 6000}};
  CHECK(sample().rows() == expected);

  ledger book;
  for (int peer : {5, 1, 3, 4, 0, 2, 3}) {
    for (auto way : {direction::received, direction::sent}) {
      book.record(operation_kind::all_to_all, peer, way, static_cast<unsigned>(peer) + 1);
    }
  }
  REQUIRE(book.rows().size() == 12);
  for (std::size_t i = 0; i < 12; ++i) {
    const ledger_row& row = book.rows()[i];
    CHECK(row.peer == static_cast<int>(i / 2));
    CHECK(row.way == (i % 2 == 0 ? direction::sent : direction::received));
    CHECK(row.messages == (row.peer == 3 ? 2 : 1));
    CHECK(row.bytes == row.messages * static_cast<unsigned>(row.peer + 1));
  }
}

TEST_CASE("ledgers that counted the same are equal, whatever the order") {
  ledger a;
  ledger b;
  CHECK(a == b);
  a.record(operation_kind::all_gather, 0, direction::sent, 5);
  a.record(operation_kind::all_gather, 1, direction::sent, 6);
  CHECK(a != b);
  b.record(operation_kind::all_gather, 1, direction::sent, 6);
  b.record(operation_kind::all_gather, 0, direction::sent, 5);
  CHECK(a == b);
  b.call(operation_kind::all_gather);
  CHECK(a != b);
  a.call(operation_kind::all_gather);
  CHECK(a == b);
  a.record(operation_kind::all_gather, 1, direction::received, 0);
  CHECK(a != b);
  a.clear();
  CHECK(a == ledger{});
}

TEST_CASE("a second round of the same messages allocates nothing") {
  ledger book = sample();
  const ledger_row* rows = book.rows().data();
  book.clear();
  CHECK(book.rows().empty());
  book += sample();
  CHECK(book.rows().data() == rows);
  CHECK(book == sample());
}

TEST_CASE("merging adds, also to itself") {
  ledger book = sample();
  ledger other;
  other.call(operation_kind::barrier);
  other.call(operation_kind::gather);
  other.record(operation_kind::send_recv, 0, direction::received, 7);
  other.record(operation_kind::send_recv, 3, direction::sent, 1);
  book.merge(other);
  CHECK(book.calls(operation_kind::barrier) == 2);
  CHECK(book.calls(operation_kind::gather) == 1);
  CHECK(book.bytes(operation_kind::send_recv, 0, direction::received) == 7);
  CHECK(book.bytes(operation_kind::send_recv, 3, direction::sent) == 1234568);
  CHECK(book.messages(operation_kind::send_recv, direction::sent) == 3);
  CHECK(book == sample() + other);
  CHECK(book == other + sample());

  ledger twice = sample();
  twice += twice;
  CHECK(twice == sample() + sample());
  CHECK(twice.messages(direction::sent) == 16);
}

TEST_CASE("the difference of snapshots is what happened in between") {
  const ledger earlier = sample();
  ledger later = earlier;
  CHECK(later - earlier == ledger{});
  later.call(operation_kind::all_gather);
  later.record(operation_kind::all_gather, 2, direction::sent, 64);
  later.record(operation_kind::send_recv, 0, direction::sent, 0);
  ledger between;
  between.call(operation_kind::all_gather);
  between.record(operation_kind::all_gather, 2, direction::sent, 64);
  between.record(operation_kind::send_recv, 0, direction::sent, 0);
  CHECK(later - earlier == between);
  CHECK(later - ledger{} == later);
}

TEST_CASE("what is no earlier snapshot has no difference") {
  const auto message = [](const ledger& later, const ledger& earlier) -> std::string {
    try {
      (void)(later - earlier);
    } catch (const rondel::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  ledger calls;
  calls.call(operation_kind::gather);
  CHECK(message({}, calls) ==
        "ledger difference: 1 calls of gather in the earlier snapshot, 0 in the later one");
  ledger few;
  few.record(operation_kind::gather, 4, direction::sent, 10);
  ledger many = few;
  many.record(operation_kind::gather, 4, direction::sent, 0);
  CHECK(message(few, many) ==
        "ledger difference: 2 messages of 10 B of gather sent, peer 4, in the earlier snapshot, "
        "1 of 10 B in the later one");
  ledger heavy;
  heavy.record(operation_kind::gather, 4, direction::sent, 11);
  CHECK(message(few, heavy) != "");  // fewer bytes
  CHECK(message(heavy, few) != "");  // more bytes in no more messages
  CHECK(message(many, few) == "");
}

TEST_CASE("the table is aligned and exact") {
  CHECK(rondel::to_table(sample(), "rank 1 of 4") ==
        "rank 1 of 4\n"
        "operation   calls  peer  sent messages  sent bytes  received messages  received bytes\n"
        "send_recv       2   all              2   1,234,567                  0               0\n"
        "                      0              1           0                  0               0\n"
        "                      3              1   1,234,567                  0               0\n"
        "barrier         1   all              0           0                  0               0\n"
        "all_reduce      1   all              6       6,000                  6           6,006\n"
        "                      0              0           0                  6           6,006\n"
        "                      2              6       6,000                  0               0\n"
        "total           4   all              8   1,240,567                  6           6,006\n");
  CHECK(rondel::to_table({}) ==
        "operation  calls  peer  sent messages  sent bytes  received messages  received bytes\n"
        "total          0   all              0           0                  0               0\n");
  ledger uncalled;
  uncalled.record(operation_kind::split, 9, direction::received, 999);
  CHECK(rondel::to_table(uncalled) ==
        "operation  calls  peer  sent messages  sent bytes  received messages  received bytes\n"
        "split          0   all              0           0                  1             999\n"
        "                     9              0           0                  1             999\n"
        "total          0   all              0           0                  1             999\n");
}

TEST_CASE("directions have names") {
  CHECK(rondel::to_string(direction::sent) == std::string("sent"));
  CHECK(rondel::to_string(direction::received) == std::string("received"));
}
