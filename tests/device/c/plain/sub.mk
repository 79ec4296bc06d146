srcs-y += plain.c
