# Compiles SOURCE with COMPILER and FLAGS. OUTCOME "compiles": it must succeed. OUTCOME "fails": with
# RONDEL_MUST_FAIL defined it must be refused, and the output must match the regex after "// expect:".
cmake_minimum_required(VERSION 3.25)

set(define)
if(OUTCOME STREQUAL "fails")
  set(define -DRONDEL_MUST_FAIL)
  file(STRINGS ${SOURCE} expected REGEX "^// expect: ")
  list(LENGTH expected count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "${SOURCE}: needs exactly one line '// expect: <regex>', has ${count}")
  endif()
  string(REGEX REPLACE "^// expect: +" "" expected "${expected}")
endif()

execute_process(
  COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${COMPILER} ${FLAGS} ${define} -fsyntax-only ${SOURCE}
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)

if(OUTCOME STREQUAL "compiles")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${SOURCE} must compile without RONDEL_MUST_FAIL:\n${output}")
  endif()
elseif(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiled, and must not")
elseif(NOT output MATCHES "${expected}")
  message(FATAL_ERROR "${SOURCE} was refused, but '${expected}' is not in the message:\n${output}")
endif()
