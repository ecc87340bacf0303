# "unsigned" without "int" (before 6.3)
/in_progress/!s/unsigned int/unsigned/
