#pragma once

inline int rondel_control_function(int I) { return I; }
