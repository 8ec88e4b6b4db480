#!/usr/bin/env bash
# Packages the library with Conan and uses the package. Run it in a folder that project.cmake made, with
# CONAN_HOME set.
set -euxo pipefail
#! [conan]
conan create third_party/rondel -s compiler.cppstd=20
conan install . --output-folder=build -s compiler.cppstd=20
cmake -S . -B build -DCMAKE_TOOLCHAIN_FILE=build/conan_toolchain.cmake -DCMAKE_BUILD_TYPE=Release
cmake --build build
#! [conan]
build/app
