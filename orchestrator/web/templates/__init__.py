"""The pages' markup; everything in it is escaped unless it was made as markup."""
