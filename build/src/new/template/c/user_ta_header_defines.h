/*
 * The header of the enclave: UUID, flags, sizes of stack and heap.
 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

/* {{uuid}} */
#define TA_UUID {{c_uuid}}

/* No flag: every session has an instance of its own */
#define TA_FLAGS	0
#define TA_STACK_SIZE	(4 * 1024)
#define TA_DATA_SIZE	(16 * 1024)

#endif /* USER_TA_HEADER_DEFINES_H */
