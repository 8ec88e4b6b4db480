# What the port calls of vcpkg, for machines without a checkout of it: the same steps for one release build
# with this machine's tools.

function(run_step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN} failed:\n${output}")
  endif()
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  if(arg_UNPARSED_ARGUMENTS OR NOT VCPKG_BUILD_TYPE STREQUAL "release")
    message(FATAL_ERROR "vcpkg_cmake_configure: only SOURCE_PATH, OPTIONS and release builds are known here")
  endif()
  run_step(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${CURRENT_BUILDTREES_DIR} -G ${GENERATOR}
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR} -DBUILD_SHARED_LIBS=OFF
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  run_step(${CMAKE_COMMAND} --build ${CURRENT_BUILDTREES_DIR} --target install)
endfunction()

# Moves the configuration to share/<PACKAGE_NAME>, one folder up, and corrects its way to the prefix.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PACKAGE_NAME;CONFIG_PATH" "")
  set(from ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH})
  set(to ${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME})
  if(NOT IS_DIRECTORY ${from})
    message(FATAL_ERROR "vcpkg_cmake_config_fixup: there is no ${from}")
  endif()
  file(RENAME ${from} ${to})
  cmake_path(GET from PARENT_PATH parent)
  file(GLOB left ${parent}/*)
  if(NOT left)
    file(REMOVE_RECURSE ${parent})
  endif()
  file(GLOB configurations ${to}/*.cmake)
  foreach(configuration IN LISTS configurations)
    file(READ ${configuration} text)
    foreach(variable IN ITEMS _IMPORT_PREFIX PACKAGE_PREFIX_DIR)
      string(REGEX REPLACE "(get_filename_component\\(${variable} [^\n]*\n)+"
        "get_filename_component(${variable} \"\${CMAKE_CURRENT_LIST_DIR}/../..\" ABSOLUTE)\n" text "${text}")
    endforeach()
    file(WRITE ${configuration} "${text}")
  endforeach()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(MAKE_DIRECTORY ${CURRENT_PACKAGES_DIR}/share/${PORT})
  file(COPY_FILE ${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright)
endfunction()
