/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The header of the trusted application: UUID, flags, sizes of stack and heap.
 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

/* 7c1d0e5a-2f4b-4c68-9a3e-5b6d8f0a1c2e */
#define TA_UUID { 0x7c1d0e5a, 0x2f4b, 0x4c68, \
		  { 0x9a, 0x3e, 0x5b, 0x6d, 0x8f, 0x0a, 0x1c, 0x2e } }

/* No flag: every session has an instance of its own */
#define TA_FLAGS	0
#define TA_STACK_SIZE	(4 * 1024)
#define TA_DATA_SIZE	(16 * 1024)

#endif /* USER_TA_HEADER_DEFINES_H */
