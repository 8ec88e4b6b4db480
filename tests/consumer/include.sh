#!/usr/bin/env bash
# Uses the headers without any package. Run it in a folder that project.cmake made.
set -euxo pipefail
#! [include]
g++ -std=c++20 -pthread -I third_party/rondel/include app.cpp -o app
#! [include]
./app
