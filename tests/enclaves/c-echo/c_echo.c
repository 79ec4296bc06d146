// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * An enclave in C: echoes, says who it is, and stops when it is told to.
 */
#include <tee_internal_api.h>
#include <tee_ta_api.h>
#include <trustbox_enclave.h>

/* Replies with the request */
#define CMD_ECHO	1
/* Replies with the UUID as text */
#define CMD_UUID	2
/* Spins until the caller's time limit is over, then replies "stopped" */
#define CMD_SPIN	3

/* Nobody told it to stop */
#define ERROR_NEVER_STOPPED	TRUSTBOX_ENCLAVE_ERROR(1)

/* Seconds after which CMD_SPIN gives up */
#define LONGEST_SPIN	60

/* Characters of a UUID as text: 32 digits, 4 hyphens */
#define UUID_TEXT_SIZE	36

struct session {
	uint8_t uuid[TRUSTBOX_UUID_SIZE];
};

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types,
				    TEE_Param params[TEE_NUM_PARAMS],
				    void **session_context)
{
	struct trustbox_launch launch = { };
	struct session *session = NULL;
	TEE_Result res = TEE_SUCCESS;

	res = trustbox_take_launch(param_types, params, &launch);
	if (res)
		return res;
	/* There is nothing to seal here */
	trustbox_forget_sealing_key(&launch);

	session = TEE_Malloc(sizeof(*session), TEE_MALLOC_FILL_ZERO);
	if (!session)
		return TEE_ERROR_OUT_OF_MEMORY;

	TEE_MemMove(session->uuid, launch.uuid, sizeof(session->uuid));
	*session_context = session;

	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session_context)
{
	TEE_Free(session_context);
}

static TEE_Result write_reply(TEE_Param *reply, const void *bytes, size_t size)
{
	size_t room = reply->memref.size;

	reply->memref.size = size;
	if (size > room)
		return TEE_ERROR_SHORT_BUFFER;

	TEE_MemMove(reply->memref.buffer, bytes, size);

	return TEE_SUCCESS;
}

static TEE_Result write_uuid(TEE_Param *reply, const uint8_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	char text[UUID_TEXT_SIZE] = { };
	size_t pos = 0;
	size_t n = 0;

	for (n = 0; n < TRUSTBOX_UUID_SIZE; n++) {
		if (n == 4 || n == 6 || n == 8 || n == 10)
			text[pos++] = '-';
		text[pos++] = digits[uuid[n] >> 4];
		text[pos++] = digits[uuid[n] & 0xf];
	}

	return write_reply(reply, text, pos);
}

static TEE_Result spin(TEE_Param *reply)
{
	static const char text[] = "stopped";
	TEE_Time start = { };
	TEE_Time now = { };

	TEE_GetSystemTime(&start);
	while (!trustbox_should_stop()) {
		TEE_GetSystemTime(&now);
		if (now.seconds - start.seconds > LONGEST_SPIN)
			return ERROR_NEVER_STOPPED;
	}

	return write_reply(reply, text, sizeof(text) - 1);
}

TEE_Result TA_InvokeCommandEntryPoint(void *session_context, uint32_t command,
				      uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	const struct session *session = session_context;

	if (param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					   TEE_PARAM_TYPE_MEMREF_OUTPUT,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	switch (command) {
	case CMD_ECHO:
		/* Linux may change the request; it is read once, unseen */
		return write_reply(params + 1, params[0].memref.buffer,
				   params[0].memref.size);
	case CMD_UUID:
		return write_uuid(params + 1, session->uuid);
	case CMD_SPIN:
		return spin(params + 1);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}
