# map functions return errnos (before 4.13)
s/DM_MAPIO_KILL/-EIO/
