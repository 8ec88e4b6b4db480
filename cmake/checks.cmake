# Checks of the source itself, run by CTest. Exit code 77 means: cannot run here, the reason is printed.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
set(scripts ${PROJECT_SOURCE_DIR}/scripts)

# rondel_check(<name> [TIMEOUT <seconds>] COMMAND <command>...)
function(rondel_check name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_test(NAME check.${name} COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(check.${name} PROPERTIES
    LABELS check TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()

rondel_check(format COMMAND ${scripts}/check_format.sh)
rondel_check(words COMMAND Python3::Interpreter ${scripts}/check_words.py)
rondel_check(words.self_test COMMAND Python3::Interpreter ${scripts}/check_words.py --self-test)
rondel_check(layering COMMAND Python3::Interpreter ${scripts}/check_layering.py)
rondel_check(layering.self_test COMMAND Python3::Interpreter ${scripts}/check_layering.py --self-test)
rondel_check(header_size COMMAND Python3::Interpreter ${scripts}/check_header_size.py)
rondel_check(headers_listed COMMAND ${CMAKE_COMMAND} -P ${PROJECT_SOURCE_DIR}/cmake/check_headers_listed.cmake)
rondel_check(docs COMMAND ${scripts}/check_docs.sh ${PROJECT_BINARY_DIR}/docs)
rondel_check(docs.self_test COMMAND ${scripts}/check_docs.sh --self-test ${PROJECT_BINARY_DIR}/docs.self_test)

set(backends)
if(MPI_CXX_FOUND)
  list(JOIN MPI_CXX_INCLUDE_DIRS "," folders)
  list(APPEND backends --backend mpi=${folders})
endif()
if(CUDAToolkit_FOUND)
  list(JOIN CUDAToolkit_INCLUDE_DIRS "," folders)
  list(APPEND backends --backend cuda=${folders})
  if(NCCL_FOUND)
    list(APPEND backends --backend nccl=${folders},${NCCL_INCLUDE_DIR})
  endif()
endif()
rondel_check(compile_time TIMEOUT 600
  COMMAND Python3::Interpreter ${scripts}/compile_time.py
    --compiler ${CMAKE_CXX_COMPILER} --output ${PROJECT_BINARY_DIR}/compile_time.txt ${backends})
# The longest of all tests, so it starts first.
set_tests_properties(check.compile_time PROPERTIES COST 1000)

file(GLOB units CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/tests/cuda/*.cu ${PROJECT_SOURCE_DIR}/tests/nccl/*.cu)
foreach(unit IN LISTS units)
  cmake_path(GET unit STEM name)
  rondel_check(nvcc.${name} TIMEOUT 300
    COMMAND ${scripts}/check_nvcc.sh ${unit} ${PROJECT_BINARY_DIR}/nvcc)
endforeach()
rondel_check(nvcc.headers TIMEOUT 300
  COMMAND ${scripts}/check_nvcc.sh --headers ${PROJECT_BINARY_DIR}/nvcc)
