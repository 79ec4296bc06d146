/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The header of the enclave: UUID, flags, sizes of stack and heap.
 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

/* e2a4b6c8-1d3f-4a5b-9c7d-0f1e2d3c4b5a */
#define TA_UUID { 0xe2a4b6c8, 0x1d3f, 0x4a5b, \
		  { 0x9c, 0x7d, 0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a } }

/* No flag: every session has an instance of its own */
#define TA_FLAGS	0
#define TA_STACK_SIZE	(4 * 1024)
#define TA_DATA_SIZE	(16 * 1024)

#endif /* USER_TA_HEADER_DEFINES_H */
