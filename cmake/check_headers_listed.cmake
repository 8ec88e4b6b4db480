# Compares RONDEL_HEADERS with the headers on disk; -DUPDATE=ON rewrites the list instead.
cmake_minimum_required(VERSION 3.25)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH root)
set(list_file ${CMAKE_CURRENT_LIST_DIR}/headers.cmake)
include(${list_file})

file(GLOB_RECURSE on_disk RELATIVE ${root} ${root}/include/*.hpp ${root}/include/*.cuh)
list(FILTER on_disk EXCLUDE REGEX "/\\.[^/]*$")  # an editor's lock
list(SORT on_disk)

if(UPDATE)
  file(READ ${list_file} text)
  list(JOIN on_disk "\n  " lines)
  string(REGEX REPLACE "set\\(RONDEL_HEADERS[^)]*\\)" "set(RONDEL_HEADERS\n  ${lines}\n)" text "${text}")
  file(WRITE ${list_file} "${text}")
  return()
endif()

set(missing ${on_disk})
list(REMOVE_ITEM missing ${RONDEL_HEADERS})
set(gone ${RONDEL_HEADERS})
list(REMOVE_ITEM gone ${on_disk})
set(sorted ${RONDEL_HEADERS})
list(SORT sorted)

foreach(header IN LISTS missing)
  message(SEND_ERROR "on disk but not in cmake/headers.cmake: ${header}")
endforeach()
foreach(header IN LISTS gone)
  message(SEND_ERROR "in cmake/headers.cmake but not on disk: ${header}")
endforeach()
if(NOT sorted STREQUAL RONDEL_HEADERS)
  message(SEND_ERROR "cmake/headers.cmake is not sorted")
endif()
list(LENGTH on_disk count)
message(STATUS "${count} headers on disk")
