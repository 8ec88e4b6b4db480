# Installs the package into the build folder and uses it the three ways a consumer can, without network.
set(work ${CMAKE_CURRENT_BINARY_DIR}/package)
set(stage ${work}/stage)
set(consumer ${CMAKE_CURRENT_SOURCE_DIR}/consumer)

# A consumer's cache from an earlier run would hide an option that is wrong in a new one.
add_test(NAME package.clean COMMAND ${CMAKE_COMMAND} -E rm -rf ${work})
set_tests_properties(package.clean PROPERTIES FIXTURES_SETUP rondel_clean LABELS package TIMEOUT 60)
add_test(NAME package.install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${stage})
set_tests_properties(package.install PROPERTIES
  FIXTURES_REQUIRED rondel_clean FIXTURES_SETUP rondel_stage LABELS package TIMEOUT 60)

foreach(mode IN ITEMS find_package add_subdirectory fetch_content)
  set(build ${work}/${mode})
  add_test(NAME package.${mode}
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${consumer} ${build}
      --build-generator ${CMAKE_GENERATOR}
      --build-options
        -DMODE=${mode}
        -DRONDEL_SOURCE=${PROJECT_SOURCE_DIR}
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
