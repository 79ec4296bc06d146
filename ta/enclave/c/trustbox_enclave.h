/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * For people who write enclaves in C: what runs inside OP-TEE, launched by
 * the TrustBox TA. A complete example is tests/enclaves/c-echo.
 *
 * An enclave is a trusted application of the GlobalPlatform TEE Internal Core
 * API 1.3.1 with these rules:
 *
 * - TA_FLAGS has neither TA_FLAG_SINGLE_INSTANCE nor what depends on it:
 *   every session has an instance, and memory, of its own.
 * - TA_OpenSessionEntryPoint() begins with trustbox_take_launch() and returns
 *   what that returns: nobody but the TrustBox TA gets a session, and OP-TEE
 *   says who asks for it, never a parameter.
 * - Call convention: parameter 0 is the request (memref input), parameter 1
 *   the reply (memref output), the others are none. Check the types before
 *   anything else.
 * - A request may lie in memory that Linux shares and changes at any time.
 *   Copy it once (TEE_MemMove()) and look at the copy only.
 * - Errors of the enclave's own are TRUSTBOX_ENCLAVE_ERROR(1) and up.
 * - A caller may set a time limit. What takes long asks
 *   trustbox_should_stop() now and then; an enclave that never asks cannot be
 *   stopped.
 *
 * TEE_STORAGE_PRIVATE outlives an uninstall. What shall end with the
 * installation has to be encrypted with the sealing key.
 */
#ifndef TRUSTBOX_ENCLAVE_H
#define TRUSTBOX_ENCLAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tee_internal_api.h>

/* The TrustBox TA, b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1 */
#define TRUSTBOX_UUID { 0xb8a6e9d4, 0x3f0c, 0x4f7e, \
			{ 0x9a, 0x53, 0x1d, 0x2c, 0x7e, 0x50, 0xb4, 0xc1 } }

/* The enclave's own error @n, from 1 to 0xfeff, as a TEE_Result */
#define TRUSTBOX_ENCLAVE_ERROR(n)	((TEE_Result)(0x80450000 | (n)))

#define TRUSTBOX_SEALING_KEY_SIZE	32
#define TRUSTBOX_UUID_SIZE		16
#define TRUSTBOX_MAX_LAUNCH		192
#define TRUSTBOX_MAX_TICKET		(TRUSTBOX_MAX_LAUNCH - \
					 TRUSTBOX_SEALING_KEY_SIZE - \
					 TRUSTBOX_UUID_SIZE)

/*
 * struct trustbox_launch - what an enclave is handed when it is launched
 * @sealing_key:	seals its data; random for each UUID, publisher and
 *			installation. Secret: see trustbox_forget_sealing_key()
 * @uuid:		the enclave itself, in the byte order of RFC 9562
 * @ticket:		what the enclave shows the TrustBox TA when it calls
 *			back. Not secret, and opaque to the enclave
 * @ticket_size:	bytes of @ticket
 */
struct trustbox_launch {
	uint8_t sealing_key[TRUSTBOX_SEALING_KEY_SIZE];
	uint8_t uuid[TRUSTBOX_UUID_SIZE];
	uint8_t ticket[TRUSTBOX_MAX_TICKET];
	size_t ticket_size;
};

/*
 * trustbox_is_caller() - is it the TrustBox TA that calls?
 *
 * The answer is OP-TEE's (gpd.client.identity, 4.2.4 and 4.4 of the API), so
 * neither Linux nor another trusted application can forge it.
 */
static inline bool trustbox_is_caller(void)
{
	const TEE_UUID trustbox = TRUSTBOX_UUID;
	TEE_Identity caller = { };

	if (TEE_GetPropertyAsIdentity(TEE_PROPSET_CURRENT_CLIENT,
				      "gpd.client.identity", &caller))
		return false;

	return caller.login == TEE_LOGIN_TRUSTED_APP &&
	       !TEE_MemCompare(&caller.uuid, &trustbox, sizeof(trustbox));
}

/*
 * trustbox_forget_sealing_key() - wipe the sealing key
 *
 * Call it as soon as the key is in an object of its own or not needed at all.
 */
static inline void trustbox_forget_sealing_key(struct trustbox_launch *launch)
{
	TEE_MemFill(launch->sealing_key, 0, sizeof(launch->sealing_key));
}

/*
 * trustbox_take_launch() - the caller check, then the launch taken apart
 * @param_types:	as TA_OpenSessionEntryPoint() got them
 * @params:		as TA_OpenSessionEntryPoint() got them
 * @launch:		filled in on success
 *
 * Return TEE_SUCCESS, TEE_ERROR_ACCESS_DENIED where it is not the TrustBox TA
 * that calls, or TEE_ERROR_BAD_PARAMETERS where this is not a launch.
 */
static inline TEE_Result
trustbox_take_launch(uint32_t param_types,
		     const TEE_Param params[TEE_NUM_PARAMS],
		     struct trustbox_launch *launch)
{
	const size_t ticket_offset = TRUSTBOX_SEALING_KEY_SIZE +
				     TRUSTBOX_UUID_SIZE;
	const uint8_t *message = NULL;
	size_t size = 0;

	if (!trustbox_is_caller())
		return TEE_ERROR_ACCESS_DENIED;
	if (param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	message = params[0].memref.buffer;
	size = params[0].memref.size;
	if (size <= ticket_offset || size > TRUSTBOX_MAX_LAUNCH)
		return TEE_ERROR_BAD_PARAMETERS;

	TEE_MemMove(launch->sealing_key, message, sizeof(launch->sealing_key));
	TEE_MemMove(launch->uuid, message + TRUSTBOX_SEALING_KEY_SIZE,
		    sizeof(launch->uuid));
	launch->ticket_size = size - ticket_offset;
	TEE_MemMove(launch->ticket, message + ticket_offset,
		    launch->ticket_size);

	return TEE_SUCCESS;
}

/*
 * trustbox_should_stop() - has the call run longer than its caller allowed?
 *
 * OP-TEE masks cancellations at the end of every call, so this unmasks them
 * each time. From the first time on, TEE_Wait() may end early as well.
 */
static inline bool trustbox_should_stop(void)
{
	TEE_UnmaskCancellation();

	return TEE_GetCancellationFlag();
}

#endif /* TRUSTBOX_ENCLAVE_H */
