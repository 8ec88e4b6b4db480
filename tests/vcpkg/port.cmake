# Runs the vcpkg port, judges what it packages, and builds and runs what its `usage` says.
# Usage: cmake -DSOURCE=<checkout> -DWORK=<folder> -DVERSION=<project version> -DGENERATOR=<generator> -P port.cmake
# With VCPKG_ROOT in the environment vcpkg's own scripts run the port, else the stand-ins beside this file do.
cmake_minimum_required(VERSION 3.25)

set(PORT rondel)
set(port_folder ${SOURCE}/cmake/ports/${PORT})
file(REMOVE_RECURSE ${WORK})

# require(<sentence> <condition>...)
macro(require sentence)
  if(NOT (${ARGN}))
    message(FATAL_ERROR "${sentence}")
  endif()
endmacro()

# The manifest.
file(READ ${port_folder}/vcpkg.json manifest)
string(JSON name GET "${manifest}" name)
string(JSON version GET "${manifest}" version-semver)
string(JSON license GET "${manifest}" license)
string(JSON description GET "${manifest}" description)
string(JSON dependencies LENGTH "${manifest}" dependencies)
require("vcpkg.json: the port is called ${name}" name STREQUAL PORT)
require("vcpkg.json has version ${version}, the project ${VERSION}" version STREQUAL VERSION)
file(STRINGS ${SOURCE}/LICENSE license_title LIMIT_COUNT 2 REGEX "[^ ]")
require("vcpkg.json has licence ${license}, LICENSE is: ${license_title}"
  license STREQUAL "Apache-2.0" AND license_title MATCHES "Apache License.*Version 2.0")
file(STRINGS ${SOURCE}/CMakeLists.txt project_description REGEX "^  DESCRIPTION ")
require("vcpkg.json says '${description}', CMakeLists.txt${project_description}"
  project_description STREQUAL "  DESCRIPTION \"${description}\"")
set(known name version-semver description license dependencies features)
string(JSON members LENGTH "${manifest}")
math(EXPR last "${members} - 1")
foreach(i RANGE ${last})
  string(JSON member MEMBER "${manifest}" ${i})
  require("vcpkg.json: unknown member ${member}" member IN_LIST known)
endforeach()

# The port.
if(EXISTS "$ENV{VCPKG_ROOT}/scripts/ports.cmake")
  set(vcpkg $ENV{VCPKG_ROOT})
  message(STATUS "vcpkg of ${vcpkg}")
  set(triplet x64-linux)
  set(installed ${WORK}/installed)
  foreach(helper IN ITEMS vcpkg-cmake vcpkg-cmake-config)
    file(COPY ${vcpkg}/ports/${helper} DESTINATION ${installed}/${triplet}/share)
    list(APPEND helpers ${installed}/${triplet}/share/${helper}/vcpkg-port-config.cmake)
  endforeach()
  find_program(git git REQUIRED)
  find_program(ninja ninja REQUIRED)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -DCMD=BUILD -DPORT=${PORT} -DVERSION=${version} -DFEATURES=core -DALL_FEATURES=core
      -DCURRENT_PORT_DIR=${port_folder} -DTARGET_TRIPLET=${triplet} -D_HOST_TRIPLET=${triplet}
      -DTARGET_TRIPLET_FILE=${vcpkg}/triplets/${triplet}.cmake -DVCPKG_ROOT_DIR=${vcpkg}
      -DPACKAGES_DIR=${WORK}/packages -DBUILDTREES_DIR=${WORK}/buildtrees -D_VCPKG_INSTALLED_DIR=${installed}
      -DDOWNLOADS=${WORK}/downloads -D_VCPKG_NO_DOWNLOADS=1 -D_VCPKG_DOWNLOAD_TOOL=BUILT_IN -D_VCPKG_EDITABLE=0
      -DVCPKG_USE_HEAD_VERSION=0 -DVCPKG_BASE_VERSION=2026-01-01 -DVCPKG_CONCURRENCY=2
      -DVCPKG_PLATFORM_TOOLSET=external -DVCPKG_FIXUP_ELF_RPATH=OFF -DGIT=${git} -DNINJA=${ninja}
      "-DVCPKG_PORT_CONFIGS=${helpers}" -P ${vcpkg}/scripts/ports.cmake
    COMMAND_ERROR_IS_FATAL ANY)
  set(package ${WORK}/packages/${PORT}_${triplet})
else()
  message(STATUS "VCPKG_ROOT names no checkout of vcpkg: stand-ins run the port")
  set(package ${WORK}/package)
  include(${CMAKE_CURRENT_LIST_DIR}/stand_ins.cmake)
  block()
    set(CURRENT_PACKAGES_DIR ${package})
    set(CURRENT_BUILDTREES_DIR ${WORK}/buildtree)
    include(${port_folder}/portfile.cmake)
  endblock()
endif()

# The package: what vcpkg's own checks of a package would complain about.
foreach(file IN ITEMS include/rondel/rondel.hpp share/rondel/rondel-config.cmake share/rondel/copyright
    share/rondel/usage)
  require("the package has no ${file}" EXISTS ${package}/${file})
endforeach()
foreach(folder IN ITEMS debug lib bin share/cmake share/licenses)
  require("the package has a folder ${folder}" NOT EXISTS ${package}/${folder})
endforeach()
file(GLOB_RECURSE files ${package}/share/*.cmake)
foreach(file IN LISTS files)
  file(READ ${file} text)
  foreach(path IN ITEMS ${SOURCE} ${WORK})
    string(FIND "${text}" "${path}" found)
    require("${file} names ${path}" found EQUAL -1)
  endforeach()
endforeach()

# Each component is a target in `usage`, and each feature of the manifest a component.
file(READ ${port_folder}/usage usage)
file(GLOB components RELATIVE ${package}/share/rondel ${package}/share/rondel/rondel-*-targets.cmake)
list(TRANSFORM components REPLACE "rondel-(.*)-targets.cmake" "\\1")
require("the package has no component" components)
foreach(component IN LISTS components)
  require("usage does not name rondel::${component}" usage MATCHES "rondel::${component}[ )]")
endforeach()
string(JSON features ERROR_VARIABLE none LENGTH "${manifest}" features)
if(features GREATER 0)
  math(EXPR last "${features} - 1")
  foreach(i RANGE ${last})
    string(JSON feature MEMBER "${manifest}" features ${i})
    require("vcpkg.json has a feature ${feature}, the package no such component" feature IN_LIST components)
  endforeach()
endif()

# `usage`, word for word.
string(REGEX MATCHALL "\n    [^\n]+" lines "${usage}")
require("usage has no lines of CMake" lines)
list(JOIN lines "" lines)
set(project ${WORK}/usage)
file(COPY ${SOURCE}/tests/consumer/app.cpp DESTINATION ${project})
string(REPLACE "\n    find_package" "find_package" lines "${lines}")
string(REGEX REPLACE "\n    target_link_libraries" "\nadd_executable(main app.cpp)\ntarget_link_libraries" lines "${lines}")
file(WRITE ${project}/CMakeLists.txt
  "cmake_minimum_required(VERSION 3.25)\nproject(usage LANGUAGES CXX)\n${lines}\n"
  "enable_testing()\nadd_test(NAME main COMMAND main)\n")
execute_process(
  COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${project} ${project}/build --build-generator ${GENERATOR}
    --build-options -DCMAKE_PREFIX_PATH=${package} -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF
    --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error
  COMMAND_ERROR_IS_FATAL ANY)
