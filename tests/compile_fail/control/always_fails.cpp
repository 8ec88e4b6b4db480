// expect: error
int main() { return "text"; }
