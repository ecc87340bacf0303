# "unsigned" without "int" (before 6.3)
/in_progress|cow_threshold|limit|changes/!s/unsigned int/unsigned/
