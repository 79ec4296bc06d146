# $(TRUSTBOX) is the checkout, as ./tb run says
global-incdirs-y += $(TRUSTBOX)/ta/enclave/c
srcs-y += enclave.c
