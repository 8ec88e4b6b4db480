#include <rondel/rondel.hpp>

#include <iostream>

int main() {
  std::cout << "rondel " << RONDEL_VERSION_MAJOR << '.' << RONDEL_VERSION_MINOR << '.'
            << RONDEL_VERSION_PATCH << '\n';
}
