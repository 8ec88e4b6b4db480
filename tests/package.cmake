# Installs the package into the build folder and uses it each way that docs/packages.md shows, without network
# save for what pip may have to fetch.
set(work ${CMAKE_CURRENT_BINARY_DIR}/package)
set(stage ${work}/stage)
set(consumer ${work}/consumer)

# A consumer's cache from an earlier run would hide an option that is wrong in a new one.
add_test(NAME package.clean COMMAND ${CMAKE_COMMAND} -E rm -rf ${work})
set_tests_properties(package.clean PROPERTIES FIXTURES_SETUP rondel_clean LABELS package TIMEOUT 60)
add_test(NAME package.install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${stage})
add_test(NAME package.consumer
  COMMAND ${CMAKE_COMMAND} -DTO=${consumer} -DLIBRARY=${PROJECT_SOURCE_DIR}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/consumer/project.cmake)
set_tests_properties(package.install package.consumer PROPERTIES
  FIXTURES_REQUIRED rondel_clean FIXTURES_SETUP rondel_stage LABELS package TIMEOUT 60)

foreach(mode IN ITEMS find_package add_subdirectory fetch_content)
  set(build ${work}/${mode})
  add_test(NAME package.${mode}
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${consumer} ${build}
      --build-generator ${CMAKE_GENERATOR}
      --build-options
        -DMODE=${mode}
        -DRONDEL_EXPECTED_VERSION=${PROJECT_VERSION}
        -DCMAKE_PREFIX_PATH=${stage}
        -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF
        -DFETCHCONTENT_FULLY_DISCONNECTED=ON
        -DFETCHCONTENT_SOURCE_DIR_RONDEL=${PROJECT_SOURCE_DIR}
      --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error)
  set_tests_properties(package.${mode} PROPERTIES
    FIXTURES_REQUIRED rondel_stage LABELS package TIMEOUT 120)
endforeach()

add_test(NAME package.include COMMAND bash include.sh WORKING_DIRECTORY ${consumer})
set_tests_properties(package.include PROPERTIES
  FIXTURES_REQUIRED rondel_stage LABELS package TIMEOUT 120)

# package.vcpkg.control: the check itself is checked, by a version that the port does not have.
foreach(control IN ITEMS "" .control)
  add_test(NAME package.vcpkg${control}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DWORK=${CMAKE_CURRENT_BINARY_DIR}/vcpkg${control}
      -DVERSION=${PROJECT_VERSION}${control} -DGENERATOR=${CMAKE_GENERATOR}
      -P ${CMAKE_CURRENT_SOURCE_DIR}/vcpkg/port.cmake)
endforeach()
set_tests_properties(package.vcpkg.control PROPERTIES
  LABELS package TIMEOUT 60 PASS_REGULAR_EXPRESSION "vcpkg.json has version")
add_test(NAME package.conan
  COMMAND ${PROJECT_SOURCE_DIR}/scripts/check_conan.sh ${CMAKE_CURRENT_BINARY_DIR}/conan)
set_tests_properties(package.vcpkg package.conan PROPERTIES
  LABELS package TIMEOUT 300 SKIP_RETURN_CODE 77)
