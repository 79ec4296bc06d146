// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A trusted application that knows nothing of TrustBox and lets anybody in: what the enclave c-echo would be without it, and
 * a signature by itself.
 */
#include <tee_internal_api.h>
#include <tee_ta_api.h>

/* Replies with the request, as c-echo's first command */
#define CMD_ECHO	1
/* Replies with ECDSA P-256 over a digest of 32 bytes, by a key of this session */
#define CMD_SIGN	2

static TEE_OperationHandle signer;

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types,
				    TEE_Param params[TEE_NUM_PARAMS] __unused,
				    void **session_context __unused)
{
	if (param_types)
		return TEE_ERROR_BAD_PARAMETERS;

	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session_context __unused)
{
}

static TEE_Result make_signer(void)
{
	TEE_ObjectHandle key = TEE_HANDLE_NULL;
	TEE_Attribute curve = { };
	TEE_Result res = TEE_AllocateTransientObject(TEE_TYPE_ECDSA_KEYPAIR,
						     256, &key);

	if (res)
		return res;

	TEE_InitValueAttribute(&curve, TEE_ATTR_ECC_CURVE,
			       TEE_ECC_CURVE_NIST_P256, 0);
	res = TEE_GenerateKey(key, 256, &curve, 1);
	if (!res)
		res = TEE_AllocateOperation(&signer, TEE_ALG_ECDSA_SHA256,
					    TEE_MODE_SIGN, 256);
	if (!res)
		res = TEE_SetOperationKey(signer, key);
	TEE_FreeTransientObject(key);

	return res;
}

static TEE_Result sign(TEE_Param params[TEE_NUM_PARAMS])
{
	TEE_Result res = signer ? TEE_SUCCESS : make_signer();
	size_t size = params[1].memref.size;

	if (res)
		return res;

	res = TEE_AsymmetricSignDigest(signer, NULL, 0, params[0].memref.buffer,
				       params[0].memref.size,
				       params[1].memref.buffer, &size);
	params[1].memref.size = size;

	return res;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session_context __unused,
				      uint32_t command, uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	size_t room = 0;

	if ((command != CMD_ECHO && command != CMD_SIGN) ||
	    param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					   TEE_PARAM_TYPE_MEMREF_OUTPUT,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	if (command == CMD_SIGN)
		return sign(params);

	room = params[1].memref.size;
	params[1].memref.size = params[0].memref.size;
	if (params[0].memref.size > room)
		return TEE_ERROR_SHORT_BUFFER;

	TEE_MemMove(params[1].memref.buffer, params[0].memref.buffer,
		    params[0].memref.size);

	return TEE_SUCCESS;
}
