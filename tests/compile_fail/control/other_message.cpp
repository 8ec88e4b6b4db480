// expect: rondel_name_that_no_message_has
int main() {
#ifdef RONDEL_MUST_FAIL
  return "text";
#endif
}
