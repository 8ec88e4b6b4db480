#pragma once

inline int rondel_control_function() { return 1; }
