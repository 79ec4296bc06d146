/*
 * The enclave. Whoever holds the package sees ciphertext; whoever holds the
 * device sees what the commands reply.
 */
#include <tee_internal_api.h>
#include <tee_ta_api.h>
#include <trustbox_enclave.h>

/* Replies with the request turned around */
#define CMD_REVERSE	1

/* The request is longer than MAX_REQUEST */
#define ERROR_TOO_LONG	TRUSTBOX_ENCLAVE_ERROR(1)

#define MAX_REQUEST	256

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

/* Nobody but the TrustBox TA gets a session; OP-TEE says who asks */
TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types,
				    TEE_Param params[TEE_NUM_PARAMS],
				    void **session)
{
	struct trustbox_launch launch = { };
	TEE_Result res = trustbox_take_launch(param_types, params, &launch);

	*session = NULL;
	/* There is nothing to seal here */
	trustbox_forget_sealing_key(&launch);

	return res;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
}

static TEE_Result reverse(TEE_Param *request, TEE_Param *reply)
{
	uint8_t copy[MAX_REQUEST] = { };
	uint8_t turned[MAX_REQUEST] = { };
	size_t size = request->memref.size;
	size_t room = reply->memref.size;
	size_t n = 0;

	if (size > sizeof(copy))
		return ERROR_TOO_LONG;
	/* Linux may change the request meanwhile: it is read once */
	TEE_MemMove(copy, request->memref.buffer, size);
	for (n = 0; n < size; n++)
		turned[n] = copy[size - 1 - n];

	reply->memref.size = size;
	if (size > room)
		return TEE_ERROR_SHORT_BUFFER;
	TEE_MemMove(reply->memref.buffer, turned, size);

	return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t command,
				      uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	(void)session;

	if (param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					   TEE_PARAM_TYPE_MEMREF_OUTPUT,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	switch (command) {
	case CMD_REVERSE:
		return reverse(params, params + 1);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}
