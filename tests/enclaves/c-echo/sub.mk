global-incdirs-y += ../../../ta/enclave/c
srcs-y += c_echo.c
