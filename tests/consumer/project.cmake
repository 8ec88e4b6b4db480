# Makes the folder TO, from scratch, a project of its own: this one, with the checkout LIBRARY in third_party/.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${TO})
file(COPY ${CMAKE_CURRENT_LIST_DIR}/ DESTINATION ${TO})
file(MAKE_DIRECTORY ${TO}/third_party)
file(CREATE_LINK ${LIBRARY} ${TO}/third_party/rondel SYMBOLIC)
