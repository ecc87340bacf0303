# so are the throttle's own (before 6.3)
s/unsigned int (in_progress|cow_threshold)/unsigned \1/
