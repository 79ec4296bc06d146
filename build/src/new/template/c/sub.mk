# $(TRUSTBOX) is the checkout, as ./tb run says
incdirs_ext-y += $(TRUSTBOX)/ta/enclave/c
srcs-y += enclave.c
