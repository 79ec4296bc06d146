/* Where the program starts, its exceptions, and the call with all registers. */

	.section .start, "ax"
	.global _start
_start:
	mov	x20, x0
	ldr	x1, =stack + 0x4000
	mov	sp, x1
	ldr	x1, =vectors
	msr	vbar_el1, x1
	isb
	bl	run
	mov	x1, x0
	mov	x0, x20
	br	x1
	.ltorg
	.text
	.balign 2048
vectors:
	.rept 16
	b	1f
	.balign 128
	.endr
1:	mrs	x0, esr_el1
	mrs	x1, elr_el1
	mrs	x2, far_el1
	ldr	x3, =stack + 0x4000
	mov	sp, x3
	b	fault
/* Calls with all registers; the number of a kept one that was not kept, or 0 */
	.global smc
smc:	stp	x29, x30, [sp, #-112]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	stp	x0, x18, [sp, #96]
	mov	x30, x0
	.irp	n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
	mov	x\n, #0x5b00 + \n
	.endr
	ldp	x16, x17, [x30, #128]
	ldp	x14, x15, [x30, #112]
	ldp	x12, x13, [x30, #96]
	ldp	x10, x11, [x30, #80]
	ldp	x8, x9, [x30, #64]
	ldp	x6, x7, [x30, #48]
	ldp	x4, x5, [x30, #32]
	ldp	x2, x3, [x30, #16]
	ldp	x0, x1, [x30]
	smc	#0
	ldr	x30, [sp, #96]
	stp	x16, x17, [x30, #128]
	stp	x14, x15, [x30, #112]
	stp	x12, x13, [x30, #96]
	stp	x10, x11, [x30, #80]
	stp	x8, x9, [x30, #64]
	stp	x6, x7, [x30, #48]
	stp	x4, x5, [x30, #32]
	stp	x2, x3, [x30, #16]
	stp	x0, x1, [x30]
	.irp	n, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
	mov	x0, #\n
	mov	x1, #0x5b00 + \n
	cmp	x\n, x1
	b.ne	2f
	.endr
	mov	x0, #0
2:	ldr	x18, [sp, #104]
	ldp	x27, x28, [sp, #80]
	ldp	x25, x26, [sp, #64]
	ldp	x23, x24, [sp, #48]
	ldp	x21, x22, [sp, #32]
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #112
	ret
	.ltorg
	.bss
	.balign	16
stack:	.space	0x4000
